"""What is gone, predicted from what is left: least squares with a Gram matrix alone.

With G = E[x xᵀ] (or the covariance) of a layer's input, K the kept and R the removed channels, the kept ones predict
the removed ones by B = G[R,K] (G[K,K] + λI)⁻¹. A layer that reads W_K x_K + W_R x_R then reads (W_K + W_R B) x_K
instead (He et al. 2017, arXiv:1707.06168, eq. 2; from a Gram matrix alone: GRAIL, arXiv:2602.23795). The kept channels
stand for themselves: a ridge that shrank them, too, would change a layer from which nothing is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGES = (1e-3, 1e-5, 1e-7)  # λ over the mean of G's diagonal


@dataclass(frozen=True)
class Prediction:
    """`matrix` `[C, K]`: every channel from the kept ones, which are the rows of an identity; float64. `ridge`: λ."""

    matrix: Tensor
    kept: Tensor
    ridge: float

    @property
    def error(self) -> Tensor:
        """x ↦ x − B x_K as a matrix `[C, C]`."""
        error = torch.eye(len(self.matrix), dtype=self.matrix.dtype, device=self.matrix.device)
        error[:, self.kept] -= self.matrix
        return error


def predict(gram: Tensor, kept: Tensor, ridge: float = RIDGES[0]) -> Prediction:
    """Every channel from the `kept` ones (int64), by `gram` `[C, C]`; `ridge` is λ over the mean of its diagonal."""
    kept = kept.to(gram.device)
    among = gram[kept][:, kept]
    strength = ridge * gram.diagonal().mean()
    matrix = torch.zeros(len(gram), len(kept), dtype=gram.dtype, device=gram.device)
    if strength > 0:
        regular = among + strength * torch.eye(len(kept), dtype=gram.dtype, device=gram.device)
        matrix = torch.linalg.solve(regular, gram[kept]).T.contiguous()
    matrix[kept] = torch.eye(len(kept), dtype=gram.dtype, device=gram.device)
    return Prediction(matrix, kept, ridge)


def residual(prediction: Prediction, gram: Tensor, reading: Tensor) -> float:
    """E‖W(x − B x_K)‖² over E‖Wx‖² with `reading` = WᵀW `[C, C]`; 0 where nothing is read."""
    error = prediction.error
    whole = float((gram * reading).sum())
    return float((error @ gram @ error.T * reading).sum()) / whole if whole > 0 else 0.0


def best(seen: Tensor, held: Tensor | None, kept: Tensor, reading: Tensor) -> Prediction:
    """The prediction by the Gram matrix `seen` with that ridge of RIDGES that leaves the least on `held`, another one.

    Without `held` it is the strongest ridge.
    """
    if held is None:
        return predict(seen, kept)
    return min((predict(seen, kept, ridge) for ridge in RIDGES), key=lambda one: residual(one, held, reading))
