"""Packages that some of userrep needs and all of it does not: which are installed, and how to bring one."""

from importlib import import_module

_DISTRIBUTIONS = {"hydra": "hydra-core", "omegaconf": "hydra-core", "yaml": "pyyaml", "sklearn": "'userrep[baselines]'"}


def installed(*modules: str) -> bool:
    """Say whether all of these modules can be imported."""
    try:
        for name in modules:
            import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def installing(module: str) -> str:
    """Return the command that brings the package of a module that cannot be imported."""
    root = module.partition(".")[0]
    return f"pip install {_DISTRIBUTIONS.get(root, root)}"
