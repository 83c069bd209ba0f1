"""Random views have the distribution of torchvision's: windows, jitter, and whole presets."""

import itertools

import pytest
import torch
from scipy.stats import chisquare, ks_2samp

from pauc_train import colour
from pauc_train.views import VIEWS, Draws, Views, random_view

COUNT = 800


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same_law(ours, theirs):
    """Whether two samples could come from one law, in each of their columns."""
    pairs = zip(ours.T, theirs.T, strict=True)
    return all(ks_2samp(a.numpy(), b.numpy()).pvalue > 1e-3 for a, b in pairs)


def windows(views):
    """Width, height, left and top of the windows drawn, read off a picture of coordinates."""
    side = 64
    ramp = (torch.arange(side) + 0.5) / side
    picture = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])
    seen = random_view(picture.expand(COUNT, -1, -1, -1), views, Draws(seeded(), COUNT))
    first, last = seen[:, :, 0, 0], seen[:, :, -1, -1]  # middles of the corners' pixels
    sides = (last - first) * side / (side - 1)
    return torch.cat([sides, first - sides / (2 * side)], 1)


@pytest.mark.parametrize("area", [(0.08, 1.0), (0.2, 1.0), (0.14, 1.0), (0.05, 0.14)])
def test_crops_have_torchvisions_law(area, peers):
    ours = windows(Views(area=area, stretch=4 / 3, inside=True))
    crop = peers.torchvision.transforms.RandomResizedCrop
    big = torch.empty(1, 1).expand(1, 2048, 2048)  # whole pixels hardly round there
    torch.manual_seed(0)
    drawn = [crop.get_params(big, area, (3 / 4, 4 / 3)) for _ in range(COUNT)]
    top, left, height, width = torch.tensor(drawn).T / 2048
    theirs = torch.stack([width, height, left, top], 1)
    assert same_law(ours, theirs)
    square = windows(Views(area=area, inside=True))
    assert not same_law(square, theirs)  # so that a difference would show


def test_orders_are_uniform_over_all_permutations():
    places = Draws(seeded(), 6000).orders(4, 1.0)
    order = torch.full((6000, 4), -1)
    for place, things in enumerate(places):
        for thing, rows in enumerate(things):
            order[rows, place] = thing
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for row in order.tolist():
        counts[tuple(row)] += 1  # a KeyError where a thing comes twice or not at all
    assert chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize(
    ("views", "share"),
    [
        (Views(brightness=0.4, hue=0.1, jitter=0.8), 0.8),
        (Views(grey=0.2), 0.2),
        (Views(blur=0.5), 0.5),
        (Views(solarise=0.1), 0.1),
    ],
)
def test_changes_happen_to_their_share_of_images(views, share):
    x = torch.rand(1, 3, 20, 20, generator=seeded(1)).expand(4000, -1, -1, -1)
    changed = (random_view(x, views, Draws(seeded(), 4000)) != x).flatten(1).any(1)
    assert float(changed.float().mean()) == pytest.approx(share, abs=0.025)


def summary(pictures):
    """A few numbers that colour, contrast and crop move."""
    grey = colour.grey(pictures)
    chroma = pictures.amax(1) - pictures.amin(1)
    return torch.stack(
        [
            grey.mean((1, 2, 3)),
            grey.std((1, 2, 3)),
            chroma.mean((1, 2)),
            pictures[:, 0].mean((1, 2)),
        ],
        1,
    )


def composed(transforms, name):
    """The preset as the authors' code composes it from torchvision's parts, without blur."""
    t = transforms
    views = VIEWS[name]
    jitter = t.ColorJitter(views.brightness, views.contrast, views.saturation, views.hue)
    grey = t.RandomGrayscale(views.grey)
    jitter = t.RandomApply([jitter], views.jitter)
    first, second = (grey, jitter) if views.grey_first else (jitter, grey)
    crop = t.RandomResizedCrop(32, scale=views.area, antialias=False)
    return t.Compose([crop, first, second, t.RandomHorizontalFlip()])


@pytest.mark.parametrize("name", ["photos", "photos-v1", "byol-first"])
def test_presets_have_the_law_of_torchvisions_parts(name, peers):
    coarse = torch.rand(1, 3, 5, 5, generator=seeded(2)) * 0.7 + 0.15
    photo = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    without = {f: getattr(VIEWS[name], f) for f in Views.__dataclass_fields__} | {"blur": 0.0}
    ours = random_view(photo.expand(COUNT, -1, -1, -1), Views(**without), Draws(seeded(3), COUNT))
    torch.manual_seed(4)
    transform = composed(peers.torchvision.transforms, name)
    theirs = torch.stack([transform(photo[0]) for _ in range(COUNT)])
    assert same_law(summary(ours), summary(theirs))
    weaker = Views(**without | {"brightness": 0.5 * VIEWS[name].brightness})  # would show
    off = random_view(photo.expand(COUNT, -1, -1, -1), weaker, Draws(seeded(3), COUNT))
    assert not same_law(summary(off), summary(theirs))
