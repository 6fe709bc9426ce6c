"""The report's two networks as Keras builds them, float32: seconds per triplet and per step.

Runs where Keras is installed (`make bench` sees to it) and prints one line of JSON.

    python benchmarks/keras_networks.py basic_cnn [--triplets 16] [--steps 3]
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers

SLICE = (184, 224)  # of a volume of 182 x 218 x 182, padded to a multiple of 8
PATCH = (64, 64)
BATCH = 32  # patches of a training step
AT_ONCE = 4  # triplets of one prediction
PARAMETERS = {"basic_cnn": 672_963, "watnet": 1_346_307}


def basic_cnn(shape: tuple[int, int]) -> Any:
    """Build BasicCNN for triplets of this size."""
    x = source = keras.Input((*shape, 3))
    for width in (64, 128, 256):
        x = layers.Conv2D(width, 4, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(source, layers.Conv2D(3, 4, padding="same", activation="sigmoid")(x))


def watnet(shape: tuple[int, int]) -> Any:
    """Build the report's WATNet for triplets of this size."""
    source = keras.Input((*shape, 3))
    x, approximation = _convolve(_convolve(source, 64), 64), source
    for _ in range(3):
        approximation, details = _haar(approximation)
        gamma, beta = (layers.Conv2D(64, 2, padding="same")(details) for _ in range(2))
        x = _distil(x, strides=2) * gamma + beta
    x = _distil(_distil(x))
    for _ in range(3):
        x = layers.Conv2DTranspose(64, 1, strides=2, padding="same")(_distil(x))
    residual = layers.Conv2D(3, 3, padding="same", activation="tanh")(_convolve(x, 64))
    return keras.Model(source, source + residual)


def _convolve(x: Any, width: int) -> Any:
    return layers.Conv2D(width, 3, padding="same", activation="relu")(x)


def _distil(x: Any, strides: int = 1) -> Any:
    first = _convolve(_convolve(_convolve(x, 48), 32), 64)
    second = _convolve(_convolve(_convolve(first[..., 16:], 64), 48), 80)
    together = second + layers.Concatenate()([x, first[..., :16]])
    return layers.Conv2D(64, 1, strides=strides, activation="relu")(together)


def _haar(x: Any) -> tuple[Any, Any]:
    a, b, c, d = (x[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
    details = [(a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2]
    return (a + b + c + d) / 2, layers.Concatenate()(details)


def seconds_per_triplet(build: Callable[..., Any], n_triplets: int) -> float:
    """Time the prediction of triplets."""
    network = build(SLICE)
    triplets = np.random.default_rng(0).random((n_triplets, *SLICE, 3), np.float32)
    network.predict(triplets[:AT_ONCE], batch_size=AT_ONCE, verbose=0)
    start = time.perf_counter()
    network.predict(triplets, batch_size=AT_ONCE, verbose=0)
    return (time.perf_counter() - start) / n_triplets


def seconds_per_step(build: Callable[..., Any], n_steps: int) -> float:
    """Time steps of a training."""
    network = build(PATCH)
    network.compile(keras.optimizers.Adam(), "mae")
    patches = np.random.default_rng(0).random((n_steps * BATCH, *PATCH, 3), np.float32)
    network.fit(patches[:BATCH], patches[:BATCH], batch_size=BATCH, verbose=0)
    start = time.perf_counter()
    network.fit(patches, patches, batch_size=BATCH, verbose=0)
    return (time.perf_counter() - start) / n_steps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=PARAMETERS)
    parser.add_argument("--triplets", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    build = {"basic_cnn": basic_cnn, "watnet": watnet}[options.network]
    n_parameters = build(SLICE).count_params()
    assert n_parameters == PARAMETERS[options.network], n_parameters
    figures = {
        "keras": f"{keras.__version__} on {keras.backend.backend()}",
        "triplet_s": seconds_per_triplet(build, options.triplets),
        "step_s": seconds_per_step(build, options.steps),
    }
    print(json.dumps(figures))
