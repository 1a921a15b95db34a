"""Groups of channels that can only be removed together, as Torch-Pruning's dependency graph finds them.

Fang et al. 2023, DepGraph: a residual sum, a concatenation, a depthwise convolution or a flattening ties channels of
several layers to one another. A group is traced from one of its producing layers, the root; a member is one layer of
the group in one role, with the root channel that each of its own channels goes with.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from budama.errors import BudamaError, one_line
from budama.networks import calls, modes, outputs
from budama.pruning import attention, channels, tracing
from budama.slow_imports import without

with without("timm"):  # 1.4 s, for an operation counter that is not used here
    import torch_pruning as tp

ROOTS = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class Member:
    """A layer's part in a group: its channels `idxs` go with the root's channels `roots` (int64, equally long)."""

    name: str
    module: Any  # nn.Module, or an nn.Parameter that belongs to no layer
    role: str  # out: produces the channels; in: consumes them; both: passes them through
    idxs: Tensor
    roots: Tensor
    axis: int | None = None  # of a parameter that belongs to no layer

    @property
    def consumes(self) -> bool:
        """Whether calibration saw the channels at this layer's input."""
        return self.role == "in" or channels.is_depthwise(self.module) or isinstance(self.module, nn.MultiheadAttention)


@dataclass(frozen=True)
class Group:
    """A whole dependency group. `repeats` channels go at a time: `run` neighbours (a head) of each of equal blocks."""

    name: str  # of the first layer that produces its channels
    size: int  # channels of the root
    repeats: int
    members: tuple[Member, ...]
    traced: tp.dependency.Group
    run: int = 1

    @property
    def positions(self) -> int:
        """How often channels could be removed."""
        return self.size // self.repeats

    def at(self, positions: Sequence[int]) -> tuple[int, ...]:
        """The root channels of these positions."""
        every = torch.arange(self.size).reshape(-1, self.positions, self.run)
        return tuple(every[:, list(positions)].flatten().tolist())

    def means(self, scores: Tensor) -> Tensor:
        """`[positions]`: the mean of the root channels' scores over what is removed together."""
        return scores.reshape(-1, self.positions, self.run).mean((0, 2))


class Graph:
    """The dependency graph of a model; it follows the model as groups are pruned.

    Args:
        model: pruned in place by `remove`.
        example: an input batch, for tracing.
        ignored: modules whose channels stay (their whole groups do, then).
        hints: what Torch-Pruning must be told about the architecture, as keyword arguments of its `BasePruner`:
            `ignored_layers`, `num_heads`, `unwrapped_parameters`, `customized_pruners`.
    """

    def __init__(
        self, model: nn.Module, example: Tensor, ignored: Sequence[nn.Module] = (), hints: dict | None = None
    ) -> None:
        hints = dict(hints or {})
        self.model = model
        self.heads = hints.pop("num_heads", {})
        self.attention, self.fused = attention.head_layers(model), attention.fused_layers(model)
        ignored = [*ignored, *hints.pop("ignored_layers", ())]
        self.ignored = [inner for module in ignored for inner in module.modules()]
        self.names = {module: name for name, module in model.named_modules()}
        self.broadcast: dict[str, str] = {}  # layers that a layer of one channel ties together, and that layer
        try:  # tracing follows autograd, so every parameter needs a gradient; it also sets evaluation mode
            with modes.all_gradients(model), calls.by_place(model), torch.enable_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "unwrapped parameters", which `members` handles
                self.traced = tp.DependencyGraph().build_dependency(
                    model, (example,), output_transform=outputs.tensors, verbose=False, **hints
                )
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise BudamaError(
                "the model cannot be pruned: its channels pass through operations on which Torch-Pruning's dependency "
                f"graph fails ({type(error).__name__}: {one_line(error)})"
            ) from error
        tracing.split_in_three(self.traced, self.fused)
        self.single = self._single()

    def groups(self) -> list[Group]:
        """All groups that may be pruned, in the order of the model's layers, with every channel.

        Raises one BudamaError that names every layer whose channels cannot be followed.
        """
        tracing.split_in_three(self.traced, self.fused)
        order = {name: index for index, name in enumerate(self.names.values())}
        found, obstacles = [], {}
        self.broadcast = {}
        for root, traced in self._traced():
            if isinstance(traced, tracing.Lost):
                name, obstacle = self.names[root], self._where_it_is_lost(traced)
            elif isinstance(traced, tracing.Endless):
                name, obstacle = self.names[root], self._where_it_turns(traced, root)
            else:
                group, why = self._group(traced)
                name, obstacle = group.name, why or ""
                if name not in self.broadcast:
                    found.append(group)
            if obstacle and name not in self.broadcast:
                obstacles[name] = obstacle
        if obstacles:
            raise _cannot_be_pruned({name: obstacles[name] for name in sorted(obstacles, key=lambda name: order[name])})
        return sorted(found, key=lambda group: order[group.name])

    def trace(self, root: nn.Module) -> tp.dependency.Group:
        """All that goes with the output channels of the layer `root`; tracing.Endless where the search has no end."""
        widest = max((max(p.shape, default=1) for p in self.model.parameters()), default=1)
        return tracing.group(self.traced, root, widest)

    def roots(self) -> list[nn.Module]:
        """The layers from which groups may be traced, in the graph's order."""
        found = [module for module in self.traced.module2node if isinstance(module, ROOTS)]
        known = [(module, self.traced.get_pruner_of_module(module)) for module in found]
        return [module for module, pruner in known if pruner is not None and pruner.get_out_channels(module)]

    def _traced(self) -> Iterator[tuple[nn.Module, tp.dependency.Group | tracing.Endless | tracing.Lost]]:
        """Every root that may be pruned with its group, or with the search for it that does not end, or fails."""
        seen, ignored = self.single | attention.followers(self.model), set(self.ignored)
        for root in self.roots():
            if root in seen or root in ignored:
                continue
            traced: tp.dependency.Group | tracing.Endless
            try:
                traced = self.trace(root)
            except tracing.Endless as endless:
                traced = endless
            except tracing.Lost as lost:
                yield root, lost
                continue
            ended = not isinstance(traced, tracing.Endless)
            pairs = traced.reached if isinstance(traced, tracing.Endless) else list(traced)
            producing = {dep.target.module for dep, _ in pairs if self.prunes(dep.handler, "out")}
            seen |= producing if ended else {root}
            if not producing & ignored:
                yield root, traced

    def _single(self) -> set[nn.Module]:
        """The layers of one channel that multiply, or are added to, all channels of others (a map of attention).

        Nothing can be taken from them: searches that reach one are made to end there, since from one channel they would
        go on to all that it meets.
        """
        found = {root for root in self.roots() if channels.width(root, "out") == 1 and self._meets_many(root)}
        for root in found:
            node = self.traced.module2node[root]
            ends = ("out", "in") if channels.width(root, "in") == 1 else ("out",)
            node.dependencies = [d for d in node.dependencies if not any(self.prunes(d.trigger, end) for end in ends)]
            behind = [next_ for next_ in node.outputs if next_.type == tp.ops.OPTYPE.ELEMENTWISE]
            for following in behind:  # its non-linearity is of one channel, too
                if len(following.inputs) == 1:
                    following.dependencies = []
        return found

    def _meets_many(self, root: nn.Module) -> bool:
        try:
            tied = [member for member in members(self.trace(root)) if member.role == "out"]
        except (tracing.Endless, tracing.Lost):
            return True
        return any(_width(member) > 1 for member in tied)

    def _where_it_turns(self, endless: tracing.Endless, root: nn.Module) -> str:
        """What stands in the way of a layer whose search does not end; noted where it is a layer of one channel."""
        for dep, idxs in endless.reached:
            if dep.target.module in self.single:
                self.broadcast[self.names[root]] = self.names[dep.target.module]
            if isinstance(dep.target.module, ROOTS):
                side = "out" if self.prunes(dep.handler, "out") else "in"
                if max(int(i.idx) for i in idxs) >= channels.width(dep.target.module, side):
                    return (
                        f"the search for what shares its channels does not end behind {self.names[dep.target.module]}"
                    )
        return "the search for what shares its channels does not end"

    def _where_it_is_lost(self, lost: tracing.Lost) -> str:
        """What stands in the way of a layer in whose search the library failed."""
        for module, name in self.names.items():
            kind = type(module).__name__
            if any(True for _ in module.parameters(recurse=False)) and not channels.has_width(module):
                return f"its channels reach {name}, whose kind ({kind}) pruning does not know"
        return f"the search for what shares its channels fails ({lost})"

    def part(self, group: Group, idxs: Sequence[int]) -> tp.dependency.Group:
        """The group's part that belongs to the root channels `idxs`; its ``prune()`` removes them from the model."""
        dep = group.traced[0].dep
        return self.traced.get_pruning_group(dep.target.module, dep.handler, list(idxs))

    def prunes(self, handler, side: str) -> bool:
        """Whether a pruning function of Torch-Pruning's changes the layer's channels of this side, "out" or "in"."""
        test = self.traced.is_out_channel_pruning_fn if side == "out" else self.traced.is_in_channel_pruning_fn
        return test(handler)

    def _group(self, traced: tp.dependency.Group) -> tuple[Group, str | None]:
        """A group, and what stands in the way of pruning it."""
        parts, size = tuple(members(traced)), len(traced[0].idxs)
        repeats, run, obstacle = 1, 1, None
        for member in parts:
            if member.axis is None and not channels.has_width(member.module):
                kind = type(member.module).__name__
                obstacle = obstacle or f"its channels reach {member.name}, whose kind ({kind}) pruning does not know"
                continue
            blocks = self.blocks(member)
            beyond = int(member.idxs.max()) >= _width(member)
            if member.module in self.single and (beyond or (member.role == "in" and _width(member) == 1 < size)):
                tied = [m.name for m in parts if m.role == "out" and isinstance(m.module, ROOTS) and m is not member]
                self.broadcast |= dict.fromkeys(tied, member.name)
            if beyond:
                obstacle = f"the dependency graph does not follow its channels to {member.name}"
            elif blocks > 1 and not (len(member.idxs) == size and torch.equal(member.idxs, member.roots)):
                reshaped = "which is grouped, through a concatenation or reshape"
                obstacle = obstacle or f"its channels reach {member.name}, {reshaped}"
            repeats = max(repeats, blocks)
            if member.role == "out" and member.module in self.attention:
                run = attention.head_width(self.attention[member.module])
        return Group(producer(parts), size, repeats, parts, traced, run), obstacle

    def blocks(self, member: Member) -> int:
        """Into how many equal blocks the layer divides these channels, each of which must lose the same number."""
        module = member.module
        if isinstance(module, nn.modules.conv._ConvNd) and not channels.is_depthwise(module):
            return module.groups
        if isinstance(module, nn.GroupNorm):
            return module.num_groups
        if isinstance(module, nn.MultiheadAttention):
            return module.num_heads
        if member.role == "out" and module in self.attention:
            return 3 * attention.head_width(self.attention[module])
        return self.heads.get(module, 1) if member.role == "out" else 1


def _cannot_be_pruned(obstacles: dict[str, str]) -> BudamaError:
    """One line about the layers that cannot be pruned, by what stands in the way of each."""
    names, (first, why) = ", ".join(obstacles), next(iter(obstacles.items()))
    if len(obstacles) == 1:
        return BudamaError(f"{names} cannot be pruned: {why}; leave it out with pruning.ignore: [{names}]")
    return BudamaError(f"{names} cannot be pruned ({first}: {why}); leave them out with pruning.ignore: [{names}]")


def _width(member: Member) -> int:
    """Channels that the member's layer has on the side of its role."""
    if member.axis is not None:
        return member.module.shape[member.axis]
    return channels.width(member.module, "out" if member.role == "out" else "in")


def producer(group: Sequence[Member]) -> str:
    """The name of the first layer, in the model's order, that produces the group's channels."""
    return next(member.name for member in group if member.role == "out" or channels.is_depthwise(member.module))


def members(traced: tp.dependency.Group) -> list[Member]:
    """The layers and free parameters of a group of Torch-Pruning's, in the model's order.

    Its bookkeeping nodes (sums, reshapes, concatenations) are left out.
    """
    graph = traced._DG
    order = {name: index for index, (name, _) in enumerate(graph.model.named_modules())}
    found = []
    for item in traced:
        dep, module = item.dep, item.dep.target.module
        if any(root is None for root in item.root_idxs):
            continue  # Torch-Pruning does not know which channel of the root this is
        idxs, roots = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
        if isinstance(module, nn.Parameter):
            found.append(Member(graph._param_to_name[module], module, "both", idxs, roots, dep.target.pruning_dim))
        elif any(True for _ in module.parameters(recurse=False)) or isinstance(module, nn.modules.batchnorm._NormBase):
            out, into = graph.is_out_channel_pruning_fn(dep.handler), graph.is_in_channel_pruning_fn(dep.handler)
            role = "both" if out and into else "out" if out else "in"
            found.append(Member(graph._module2name[module], module, role, idxs, roots))
    return sorted(found, key=lambda member: order.get(member.name, len(order)))
