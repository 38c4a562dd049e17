"""DDPM: noise taken away step by step; with few steps by DDIM; with classes as a guide.

J. Ho, A. Jain, P. Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020; J. Song,
C. Meng, S. Ermon, *Denoising Diffusion Implicit Models*, ICLR 2021; J. Ho, T. Salimans,
*Classifier-Free Diffusion Guidance*, 2022. Network and schedules are the library diffusers'.
Damaged images are repaired as by C. Meng et al., *SDEdit*, ICLR 2022: noise is added up to a
step in the middle, and taken away from there.
"""

import copy

import torch
from common import CLASSES, EMA, System, Way, adam, autocast, in_batches, mapped
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.training.objective import average

STEPS = 1000
DROPPED, GUIDANCE = 0.1, 1.0
EDIT_FROM, EDIT_STEPS = 0.5, 20


class UNet(nn.Module):
    """The U-Net of diffusers without attention, about as large as f, on squares of 2 by 2 pixels.

    So coarse, as f's own layers are, it trains and samples three times as fast as at full
    resolution; 28 pixels are padded to 32, whose halves are whole. Noisy images
    (N, 1, 28, 28), steps and classes (N,) → the noise in the images, of their shape.
    """

    PATCH, PADDING = 2, 1

    def __init__(self, classes: int | None = None) -> None:
        super().__init__()
        self.net = UNet2DModel(
            sample_size=16, in_channels=4, out_channels=4, block_out_channels=(32, 64, 144),
            layers_per_block=1, norm_num_groups=8, num_class_embeds=classes,
            add_attention=False, down_block_types=("DownBlock2D",) * 3,
            up_block_types=("UpBlock2D",) * 3,
        )  # fmt: skip

    def forward(self, images: Tensor, t: Tensor, classes: Tensor | None = None) -> Tensor:
        p = self.PADDING
        squares = F.pad(F.pixel_unshuffle(images, self.PATCH), (p, p, p, p))
        noise = self.net(squares, t, class_labels=classes).sample
        return F.pixel_shuffle(noise[..., p:-p, p:-p], self.PATCH).float()


def system(device: torch.device, guided: bool = False) -> System:
    net = UNet(CLASSES + 1 if guided else None).to(device)
    ema = copy.deepcopy(net)
    opt = adam(net, lr=5e-4, betas=(0.9, 0.99))
    noising = DDPMScheduler(STEPS, beta_schedule="squaredcos_cap_v2")
    done = 0

    def learn(x: Tensor, labels: Tensor, over: float) -> None:
        nonlocal done
        noise, t = torch.randn_like(x), torch.randint(STEPS, (len(x),), device=device)
        # The class after the last stands for none.
        kept = None
        if guided:
            dropped = torch.rand(len(x), device=device) < DROPPED
            kept = torch.where(dropped, CLASSES, labels)
        with autocast(device):
            found = net(noising.add_noise(x, noise, t), t, kept)
        loss = (found - noise).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        done += 1
        average(ema, net, done, EMA)

    def noise_in(y: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            noise: Tensor = ema(y, t)
            return noise
        none = torch.full_like(labels, CLASSES)
        pair = torch.cat([labels, none])
        by_class, without = ema(torch.cat([y, y]), t, pair).chunk(2)
        guided_noise: Tensor = by_class + GUIDANCE * (by_class - without)
        return guided_noise

    def taken_away(
        y: Tensor, scheduler: DDPMScheduler | DDIMScheduler, generator: torch.Generator
    ) -> Tensor:
        """From the first of the scheduler's steps to the last."""
        labels = None
        if guided:
            labels = torch.randint(CLASSES, (len(y),), generator=generator, device=device)
        for t in scheduler.timesteps:
            y = scheduler.step(noise_in(y, t, labels), t, y, generator=generator).prev_sample
        return y

    def way(name: str, kind: type[DDPMScheduler | DDIMScheduler], steps: int) -> Way:
        def draw(n: int, generator: torch.Generator) -> Tensor:
            scheduler = kind(STEPS, beta_schedule="squaredcos_cap_v2")
            scheduler.set_timesteps(steps)

            def made(m: int) -> Tensor:
                y = torch.randn(m, 1, 28, 28, generator=generator, device=device)
                return taken_away(y, scheduler, generator)

            return in_batches(n, made, device)

        repairs = kind is DDIMScheduler and steps == 50 and not guided
        evaluations = steps * (2 if guided else 1)
        if not repairs:
            return Way(name, evaluations, draw)
        return Way(name, evaluations, draw, edited, EDIT_STEPS)

    def edited(images: Tensor, generator: torch.Generator) -> Tensor:
        """SDEdit in so many DDIM steps from the middle of the way."""
        scheduler = DDIMScheduler(STEPS, beta_schedule="squaredcos_cap_v2")
        scheduler.set_timesteps(round(EDIT_STEPS / EDIT_FROM))
        scheduler.timesteps = scheduler.timesteps[-EDIT_STEPS:]

        def made(y: Tensor) -> Tensor:
            noise = torch.randn(y.shape, generator=generator, device=device)
            y = scheduler.add_noise(y.clamp(-1, 1), noise, scheduler.timesteps[:1])
            return taken_away(y, scheduler, generator)

        return mapped(images, made)

    def ways() -> list[Way]:
        if guided:
            return [way("guided DDIM, 50 steps", DDIMScheduler, 50)]
        return [
            way("DDIM, 10 steps", DDIMScheduler, 10),
            way("DDIM, 50 steps", DDIMScheduler, 50),
            way("DDPM, 1,000 steps", DDPMScheduler, STEPS),
        ]

    return System("guided DDPM" if guided else "DDPM", learn, {"net": ema}, ways, (opt,))
