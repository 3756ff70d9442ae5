"""Where the tests of this folder run: a CUDA GPU, or what MICROTUNE_TEST_DEVICE names (`cpu`: whether they run)."""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = torch.device(os.environ.get("MICROTUNE_TEST_DEVICE", "cuda"))
ON_GPU = DEVICE.type == "cuda"
MARKS = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),  # in a thread of autograd that begins with it
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="there is no CUDA GPU here"),
]
