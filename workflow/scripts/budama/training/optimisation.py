"""What a training step is made of: learning rate, optimizer, loss, and the average of the weights."""

import copy
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

STEP_AT, STEP_FACTOR = (0.6, 0.8), 0.1


def learning_rate(settings: dict, step: int, steps_per_epoch: int) -> float:
    """Learning rate of iteration `step` (from 0): linear warm-up, then constant, stepwise or cosine decay.

    The warm-up (Goyal et al. 2017, section 2.2) reaches the full rate at its end; `cosine` falls to zero over the rest
    (Loshchilov and Hutter 2017, equation 5, no restarts); `step` divides by ten at 60 % and 80 % of the iterations.
    """
    full, total = settings["learning_rate"], settings["epochs"] * steps_per_epoch
    warmup = min(round(settings["warmup_epochs"] * steps_per_epoch), total - 1)
    if step < warmup:
        return full * (step + 1) / (warmup + 1)
    if settings["schedule"] == "cosine":
        return full * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    if settings["schedule"] == "step":
        return full * STEP_FACTOR ** sum(step >= share * total for share in STEP_AT)
    return full


class Optimizer:
    """SGD with Nesterov momentum, or AdamW (Loshchilov and Hutter 2019), by torch.optim's functions, fused.

    Its classes compute the same, and import torch's compiler before they do: 1.8 s of a stage that trains (Xeon).
    Weight decay is for weights of two or more dimensions. Biases, normalisation layers and what the model names in
    `no_weight_decay()` (timm's convention) have none (He et al. 2019, section 3.1).
    """

    BETAS, EPSILON = (0.9, 0.999), 1e-8

    def __init__(self, model: nn.Module, settings: dict) -> None:
        self.kind, self.momentum = settings["optimizer"], settings["momentum"]
        kinds = {"sgd": ("momentum",) if self.momentum else (), "adamw": ("exp_avg", "exp_avg_sq", "step")}
        spare = getattr(model, "no_weight_decay", None)
        spared = set(spare()) if callable(spare) else set()
        named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        decayed = [name for name, parameter in named.items() if parameter.ndim > 1 and name not in spared]
        plain = [name for name in named if name not in decayed]
        self.parameters = named
        self.groups = {settings["weight_decay"]: decayed}
        self.groups.setdefault(0.0, []).extend(plain)
        self.moments = {
            name: {
                moment: torch.zeros((), device=parameter.device) if moment == "step" else torch.zeros_like(parameter)
                for moment in kinds[self.kind]
            }
            for name, parameter in named.items()
        }

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change every parameter that has a gradient, at a learning rate."""
        for decay, names in self.groups.items():
            names = [name for name in names if self.parameters[name].grad is not None]
            if not names:
                continue
            parameters: list[Any] = [self.parameters[name] for name in names]
            gradients = [parameter.grad for parameter in parameters]
            moments: dict[str, list[Any]] = {
                kind: [self.moments[name][kind] for name in names] for kind in self.moments[names[0]]
            }
            if self.kind == "sgd":
                sgd(
                    parameters, gradients, moments.get("momentum", [None] * len(names)), weight_decay=decay,
                    momentum=self.momentum, lr=rate, dampening=0.0, nesterov=self.momentum > 0, maximize=False,
                    foreach=False, fused=True,
                )  # fmt: skip
            else:
                adamw(
                    parameters, gradients, moments["exp_avg"], moments["exp_avg_sq"], [], moments["step"], lr=rate,
                    beta1=self.BETAS[0], beta2=self.BETAS[1], weight_decay=decay, eps=self.EPSILON, amsgrad=False,
                    maximize=False, foreach=False, fused=True,
                )  # fmt: skip


def loss_sum(logits, labels, settings: dict, teacher_logits=None) -> torch.Tensor:
    """Loss summed over a batch: logits `[B, classes]`, labels int64 `[B]`, teacher's logits `[B, classes]` or None.

    (1 - d)·CE(labels, softmax(z)) + d·T²·KL(softmax(v / T) ‖ softmax(z / T)), with d = `distill`, T its temperature, z
    the logits, v the teacher's (Hinton et al. 2015, section 2; T² keeps the gradients' scale). Label smoothing
    (Szegedy et al. 2016, section 7) is in the first term alone: the teacher's targets are soft already.
    """
    logits = logits.float()
    share = settings["distill"] if teacher_logits is not None else 0.0
    loss = logits.new_zeros(())
    if share < 1:
        smoothing = settings["label_smoothing"]
        labelled = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
        loss = loss + (1 - share) * labelled
    if share > 0:
        temperature = settings["distill_temperature"]
        ours = functional.log_softmax(logits / temperature, dim=1)
        theirs = functional.log_softmax(teacher_logits.float() / temperature, dim=1)
        divergence = functional.kl_div(ours, theirs, reduction="sum", log_target=True)
        loss = loss + share * temperature**2 * divergence
    return loss


class WeightAverage:
    """Exponential moving average of a model's weights, BatchNorm statistics included (Polyak and Juditsky 1992).

    After step t it keeps min(`decay`, (1 + t) / (10 + t)) of itself, so that the start is forgotten soon. `model` is
    the averaged model, in eval mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._pairs = [
            (ours, theirs) for ours, theirs in zip(tensors(self.model).values(), tensors(model).values(), strict=True)
        ]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the model's weights after iteration `step` (from 0)."""
        share = 1 - min(self.decay, (2 + step) / (11 + step))
        floats = [pair for pair in self._pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([ours for ours, _ in floats], [theirs.detach() for _, theirs in floats], share)
        for ours, theirs in self._pairs:
            if not ours.is_floating_point():  # counts of batches
                ours.copy_(theirs)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, each tensor once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
