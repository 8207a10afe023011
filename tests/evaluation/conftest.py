import pytest
import torch
from helpers.scored import random_llama, train_tokenizer, write_tasks


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer()


@pytest.fixture(scope="session")
def model():
    return random_llama(0)


@pytest.fixture(scope="session")
def other_model():
    """The model with a little noise on every weight: it stands in for a compressed one."""
    other = random_llama(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in other.parameters():
        parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return other


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(folder)
    return folder
