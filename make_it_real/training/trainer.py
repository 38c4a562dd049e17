"""The training loop: batches, optimizers and the learning rate.

All random numbers of a process come from one seeded generator. Everything that has a state is in
the checkpoint.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from make_it_real import distributed
from make_it_real.data import graphics
from make_it_real.data.dataset import ImageSet
from make_it_real.data.photographs import PhotographSet
from make_it_real.errors import one_line
from make_it_real.images.pixels import to_images
from make_it_real.models.ign import IGN
from make_it_real.training.config import PhotographConfig, TrainingConfig
from make_it_real.training.graphs import Graphs, tensors
from make_it_real.training.losses import Terms
from make_it_real.training.objective import Objective

Images = ImageSet | PhotographSet
T = TypeVar("T")
Chosen = TypeVar("Chosen", bound=Objective)


class Trainer(Generic[Chosen]):
    """Trains an objective: holds its optimizers, the generator and the number of steps done.

    step: number of steps done. lr: learning rate of the last one. compile_error: why compiled
    networks were given up, or "". graphs: recordings of steps, None where steps are done as they
    are. Raises ValueError if a batch can't be divided among processes.
    """

    def __init__(self, objective: Chosen) -> None:
        # cuDNN's attention has gradients of NaN at times: github.com/pytorch/pytorch/issues/196678.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.objective, self.device = objective, objective.device
        share(objective.config)
        self.step, self.lr, self.compile_error = 0, 0.0, ""
        self.optimizers = {name: self._adam(name) for name in objective.trained}
        self.generator = torch.Generator(self.device)
        self.seed(0)
        self.graphs: Graphs | None = None
        # State of the generator at the current step, while the next step is already being drawn.
        self.drawn: Tensor | None = None

    @property
    def config(self) -> TrainingConfig:
        return self.objective.config

    def _adam(self, name: str) -> torch.optim.Adam:
        config, net = self.config, self.objective.get_submodule(name)
        betas = (config.beta1, config.beta2)
        if self.device.type != "cuda":
            return torch.optim.Adam(net.parameters(), lr=config.lr, betas=betas, fused=True)
        # A recorded step reads the learning rate on the device.
        lr = torch.tensor(config.lr, device=self.device)
        return torch.optim.Adam(net.parameters(), lr=lr, betas=betas, fused=True, capturable=True)

    def seed(self, step: int) -> None:
        """Seed the generator, differently for each process and each step."""
        rank, size = distributed.rank(), distributed.size()
        self.generator.manual_seed((self.config.seed + step) * size + rank)

    def learning_rate(self) -> float:
        """Compute the learning rate of the next step."""
        config, left = self.config, self.config.steps - self.step
        rise = (self.step + 1) / config.warm_up if config.warm_up else 1.0
        return config.lr * min(1.0, rise, left / max(1, config.decay_steps))

    def batch(self, pixels: Tensor | PhotographSet, n: int) -> Tensor:
        """Draw x, a random batch (n, C, H, W) in [−1, 1], from the pixels (N, C, H, W).

        Of photographs these are crops, or the places of whole ones for their tone.
        """
        if isinstance(pixels, PhotographSet):
            assert isinstance(self.config, PhotographConfig)
            if self.config.alone != "tone":
                side, turned = self.config.drawn_side, self.config.flip
                crops = pixels.crops(n, side, turned=turned, generator=self.generator)
                crops = graphics.among(crops, self.config.graphics, self.generator)
                return to_images(crops.to(self.device))
            pixels = pixels.places
        index = torch.randint(len(pixels), (n,), generator=self.generator, device=self.device)
        rows = fetched(pixels, index, self.device)
        if isinstance(self.config, PhotographConfig):
            # Pages are mostly among what stays as it is: one that has yellowed is not damaged.
            kept, share = self.config.kept(n), self.config.graphics
            clean = graphics.among(rows[:kept], share, self.generator)
            others = graphics.among(rows[kept:], share / 8, self.generator)
            rows = torch.cat([clean, others]).to(self.device)
        x = to_images(rows)
        if self.config.flip:
            coin = torch.rand(n, generator=self.generator, device=self.device) < 0.5
            x = torch.where(coin[:, None, None, None], x.flip(3), x)
        return x

    def draw(self, pixels: Tensor | PhotographSet, step: int) -> list[Any]:
        """Make this process's draws for a step, ``config.accumulate`` of equal size."""
        parts = self.config.accumulate
        n = share(self.config) // parts
        x = (self.batch(pixels, n) for _ in range(parts))
        return [self.objective.draw(each, step, self.generator) for each in x]

    def learn(self, draws: list[Any]) -> Terms:
        """Do one step on draws and return its terms, on the device.

        Where compiled networks fail, the step is repeated without compiling.
        """
        self.lr = self.learning_rate()
        for optimizer in self.optimizers.values():
            group = optimizer.param_groups[0]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self.lr)
            else:
                group["lr"] = self.lr
        try:
            terms = self._update(draws)
        except Exception as error:
            if not self.objective.compiled:
                raise
            self.compile_error, self.objective.compiled = one_line(error), {}
            terms = self._update(draws)
        self.objective.follow(self.step)
        if self.step == 0:
            # Buffers that networks set by their first batch must be equal in all processes.
            distributed.same(self.objective.buffers())
        self.step += 1
        return terms

    def _update(self, draws: list[Any]) -> Terms:
        """Do a step on draws but for the averages that follow it."""
        if self.graphs is not None:
            return self.graphs.update(draws, self.step)
        lambdas = self.objective.lambdas(self.step)
        return self.objective.update(self.optimizers, draws, lambdas)

    def train_step(self, pixels: Tensor | PhotographSet) -> Terms:
        """Do one step on a random batch of the pixels (N, C, H, W), or of crops."""
        return self.learn(self.draw(pixels, self.step))


def share(config: TrainingConfig) -> int:
    """Count this process's images of a batch. Raises ValueError where the shares are uneven."""
    parts = distributed.size() * config.accumulate
    least = config.divisor * parts
    if config.batch % least:
        raise ValueError(f"{parts} parts of a batch need one that is a multiple of {least}")
    return config.batch // distributed.size()


def begin(objective: Chosen, images: Images) -> Trainer[Chosen]:
    """Make a trainer of an objective, and fit its source to the images."""
    fit_source(objective, images)
    return Trainer(objective)


def fit_source(objective: Objective, images: Images) -> None:
    """Fit the source of every f to the statistics of up to 30,000 of the images."""
    generator = torch.Generator().manual_seed(objective.config.seed)
    order = torch.randperm(len(images), generator=generator)
    # Half a GB of images at most.
    count = min(30_000, max(100, 2**27 // images.pixels[0].numel()))
    sample = to_images(images.pixels[order[:count]]).to(objective.device)
    source = objective.f.source
    source.fit(sample)
    for net in objective.children():
        if isinstance(net, IGN) and net.source is not source:
            net.source.load_state_dict(source.state_dict())


def train(trainer: Trainer[Any], images: Images, ahead: bool | None = None) -> Iterator[Terms]:
    """Run the steps that are left and yield the terms of each. Stop iterating to pause.

    ahead: whether each step's batch is drawn during the step before, which saves time and changes
    no result; None does so on GPUs.
    """
    steps = trainer.config.steps
    pixels: Tensor | PhotographSet = images if isinstance(images, PhotographSet) else images.pixels
    if isinstance(pixels, Tensor):
        pixels = placed(pixels, trainer.device)
    if ahead is False or (ahead is None and trainer.device.type != "cuda"):
        while trainer.step < steps:
            yield trainer.train_step(pixels)
        return
    with Ahead(lambda step: trainer.draw(pixels, step), trainer.device) as feed:
        if trainer.step < steps:
            feed.start(trainer.step)
        try:
            while trainer.step < steps:
                draws = feed.take()
                trainer.drawn = trainer.generator.get_state()
                if trainer.step + 1 < steps:
                    feed.start(trainer.step + 1)
                yield trainer.learn(draws)
        finally:
            feed.settle()
            if trainer.drawn is not None:
                trainer.generator.set_state(trainer.drawn)
            trainer.drawn = None


def free_memory(device: torch.device) -> float:
    """Return the number of free bytes on a GPU; infinity on other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def placed(pixels: Tensor, device: torch.device) -> Tensor:
    """Move the pixels to the device if they take at most a third of its free memory.

    The rest is for f, its gradients and its activations.
    """
    return pixels.to(device) if pixels.nbytes <= free_memory(device) / 3 else pixels


def fetched(pixels: Tensor, index: Tensor, device: torch.device) -> Tensor:
    """Fetch the rows ``index`` (B,) of the pixels (N, …) to the device, from any device."""
    # Compare types only: the device of a tensor on "cuda" is "cuda:0".
    if pixels.device.type == device.type:
        return pixels[index]
    rows = pixels[index.to(pixels.device)]
    if device.type == "cuda":
        # Only copies from pinned memory run beside other work.
        rows = rows.pin_memory()
    return rows.to(device, non_blocking=True)


class Ahead(Generic[T]):
    """Makes the draws of a step in another thread, during the step before.

    Damaging images copies numbers from the device to the host, and JPEG copies pixels, so the host
    waits. On a GPU this runs on its own stream, so that it does not wait for the step.
    """

    def __init__(self, make: Callable[[int], T], device: torch.device) -> None:
        self.make, self.device = make, device
        self.pool = ThreadPoolExecutor(1)
        self.pending: Future[T] | None = None
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)
            # The draws read pixels and statistics, whose copies must be complete.
            self.stream.wait_stream(torch.cuda.current_stream(device))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown()

    def start(self, step: int) -> None:
        """Begin to make the draws of a step."""
        self.pending = self.pool.submit(self._made, step)

    def take(self) -> T:
        """Wait for what was begun and return it. Raises what making it raised."""
        assert self.pending is not None
        made = self.pending.result()
        if self.stream is not None:
            for tensor in tensors(made):
                # Its memory must not be reused before the step that reads it is done.
                tensor.record_stream(torch.cuda.current_stream(self.device))
        return made

    def settle(self) -> None:
        """Wait until nothing is being made any more, even if it failed."""
        if self.pending is not None:
            wait([self.pending])

    def _made(self, step: int) -> T:
        if self.stream is None:
            return self.make(step)
        with torch.cuda.stream(self.stream):
            made = self.make(step)
            self.stream.synchronize()
            return made
