"""Compact PyTorch versions of the networks, with the published parameter names."""

from typing import TypeVar

import torch

Module = TypeVar("Module", bound=torch.nn.Module)


def channels_last(module: Module) -> Module:
    """Store the weights of a module in the channels_last memory format."""
    # documented, but missing in the stubs
    return module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
