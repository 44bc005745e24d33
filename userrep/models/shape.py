"""The check of the numbers that a model is built from."""

from userrep.errors import ConfigError


def check_shape(model: str, **numbers: int | None) -> None:
    """Raise ConfigError, with all numbers, where one is below 1; None stands for a default."""
    if any(number is not None and number < 1 for number in numbers.values()):
        given = " ".join(f"{name}={number}" for name, number in numbers.items())
        raise ConfigError(f"{model} has {given}", "give whole numbers of at least 1")
