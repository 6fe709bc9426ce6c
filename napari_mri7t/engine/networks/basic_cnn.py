"""BasicCNN, the report's first network: three wide convolutions and a sigmoid."""

from typing import cast

from torch import Tensor, nn

from napari_mri7t.engine.networks.layers import SameConv2d

KERAS_EPSILON = 1e-3  # of batch normalisation, Keras' default


class BasicCNN(nn.Module):
    """Plain convolutional network over three adjacent axial slices.

    672,963 parameters as Keras counts them, including running statistics of the normalisation.

    References
    ----------
    .. [1] "CNN network to synthesize 7T MRI images from 3T MRI images", report, Univ. Lille and
       Centrale Lille, section on BasicCNN.
    """

    n_slices = 3
    n_outputs = 3

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_channels = self.n_slices
        for width in (64, 128, 256):
            layers += [
                SameConv2d(n_channels, width, 4),
                nn.BatchNorm2d(width, KERAS_EPSILON),
                nn.ReLU(True),
            ]
            n_channels = width
        self.features = nn.Sequential(*layers)
        self.output = nn.Sequential(SameConv2d(n_channels, self.n_outputs, 4), nn.Sigmoid())
        for module in self.modules():
            if isinstance(module, SameConv2d):  # Keras' defaults, as in the report
                nn.init.xavier_uniform_(module.weight)
                nn.init.constant_(cast(Tensor, module.bias), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map slices (N, 3, H, W) in [0, 1] to slices (N, 3, H, W) in [0, 1]."""
        x = self.features(x)  # (N, 256, H, W)
        y: Tensor = self.output(x)  # (N, 3, H, W)
        return y
