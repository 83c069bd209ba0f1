"""PCL v2 (Li et al. 2021, appendix; --mlp --aug-plus --cos): PCL as MoCo v2 is to MoCo."""

from functools import partial

from pauc_train.contrast import ContrastTraining
from pauc_train.method import Method, Poster
from pauc_train.methods import pcl

__all__ = ["METHOD"]

METHOD = Method(
    name="pclv2",
    title="PCL v2",
    paper="Li et al., Prototypical Contrastive Learning of Unsupervised Representations, ICLR 2021",
    year=2021,
    config=pcl.PclConfig,
    start=partial(ContrastTraining, terms=pcl.terms),
    needs="two views, momentum encoder, queue, k-means before each epoch",
    poster=Poster(imagenet100=(78.35, 94.25), imagenet1k=67.60),
)
