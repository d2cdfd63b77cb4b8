"""The exponential moving average of the weights and the BatchNorm statistics of a run."""

from mobilenetv2.model.arrays import Arrays
from mobilenetv2.train.trainer import State


class Average:
    """Kept in NumPy on canonical arrays, so that it is one and the same for every edition.

    Args:
        decay: the share that each step keeps of the average, less in the first steps.
        breadth: the mean age of what is averaged, as a share of the steps so far, until ``decay``
            makes it less. 0.1 is TensorFlow's rule; at 0.5 all steps count alike.
    """

    def __init__(self, decay: float, breadth: float = 0.1) -> None:
        self.decay, self.breadth, self.steps = decay, breadth, 0
        self.arrays: Arrays = {}

    def update(self, arrays: Arrays) -> None:
        """Take the weights after a step in."""
        # A short run's average must not be mostly what it began with.
        growing = (1 + self.steps) / (1 / self.breadth + self.steps)
        kept = min(self.decay, growing) if self.steps else 0.0
        for name, array in arrays.items():
            if self.steps:
                old = self.arrays[name]
                old += (array - old) * old.dtype.type(1 - kept)
            else:
                self.arrays[name] = array.copy()
        self.steps += 1

    def restore(self, state: State, steps: int) -> None:
        """Go on from ``arrays`` and ``steps`` of an earlier average."""
        self.arrays, self.steps = state, steps
