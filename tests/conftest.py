"""What all Python tests share: side by side (pytest -n), each process computes with one thread, so that they don't wait for each other."""

import importlib.util
import os


def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" in os.environ and importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
