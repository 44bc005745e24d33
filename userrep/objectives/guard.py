"""The guard: a penalty on user vectors that lie in few directions, after VICReg (Bardes et al., ICLR 2022)."""

from torch import Tensor, nn

EPS = 1e-4


class Guard(nn.Module):
    """Weigh two terms on user vectors `(B, D)`, which the loss that compares views does not hold up by itself.

    variance    weight of the hinge that asks each channel for a deviation of 1 over the users of a batch
    covariance  weight of the squared covariances between channels, over D
    VICReg has both on the projected vectors. Here the last batch norm gives those a deviation of 1 whatever the encoder
    does, so that the terms are on what is transferred.
    """

    def __init__(self, variance: float, covariance: float) -> None:
        super().__init__()
        self.variance, self.covariance = variance, covariance

    @property
    def on(self) -> bool:
        """Say whether a term has a weight."""
        return self.variance > 0 or self.covariance > 0

    def forward(self, users: Tensor) -> Tensor:
        """Return the weighed terms of a batch of two users or more, a scalar."""
        centred = users.float() - users.float().mean(dim=0)
        covariance = centred.t() @ centred / (len(users) - 1)  # (D, D)
        squared = covariance.square()
        deviation = (covariance.diagonal() + EPS).sqrt()
        hinge = (1 - deviation).clamp_min(0).mean()
        return self.variance * hinge + self.covariance * (squared.sum() - squared.trace()) / len(squared)
