"""Images a second of our random views, beside torchvision's and kornia's, on one thread.

    python benchmarks/views.py --who ours|torchvision|kornia --side 224 --batch 64

torchvision's transforms.v2 draw once for a whole batch; "image" applies them to one image after
another, each with its own draw, as ours and kornia's do. The views are PCL v2's ("photos").
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor


def ours(batch: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Give our preset."""
    from pauc_train.views import VIEWS, Draws, random_view

    generator = torch.Generator().manual_seed(0)
    return {"ours": lambda x: random_view(x, VIEWS["photos"], Draws(generator, batch))}


def torchvision(side: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Give the same from torchvision's parts, for a batch at once and for each image."""
    library = torch.library.Library("torchvision", "FRAGMENT")  # declared where it has no build
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision.transforms import v2

    window = 2 * (side // 10 // 2) + 1
    view = v2.Compose(
        [
            v2.RandomResizedCrop(side, scale=(0.2, 1.0)),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(window, (0.1, 2.0))], p=0.5),
            v2.RandomHorizontalFlip(),
        ]
    )
    return {
        "torchvision, batch": view,
        "torchvision, image": lambda x: torch.stack([view(image) for image in x]),
    }


def kornia(side: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Give the same from kornia's parts, each image with its own draw."""
    import kornia.augmentation as k

    window = 2 * (side // 10 // 2) + 1
    view = k.AugmentationSequential(
        k.RandomResizedCrop((side, side), scale=(0.2, 1.0)),
        k.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        k.RandomGrayscale(p=0.2),
        k.RandomGaussianBlur((window, window), (0.1, 2.0), p=0.5),
        k.RandomHorizontalFlip(),
    )
    return {"kornia": view}


def main() -> None:
    """Print the median images a second of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--who", choices=["ours", "torchvision", "kornia"], default="ours")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(asked.batch, 3, asked.side, asked.side)
    makers = {"ours": lambda: ours(asked.batch), "torchvision": lambda: torchvision(asked.side)}
    views = makers.get(asked.who, lambda: kornia(asked.side))()
    for name, view in views.items():
        view(x)
        seconds = []
        for _ in range(asked.rounds):
            began = time.process_time()
            view(x)
            seconds.append(time.process_time() - began)
        rate = asked.batch / sorted(seconds)[len(seconds) // 2]
        print(f"{name:<20} {asked.side:>4} pixels, batch {asked.batch}: {rate:8.0f} images/s")


if __name__ == "__main__":
    main()
