"""SGD and AdamW for Keras in PyTorch's conventions.

Keras's own differ in three ways: SGD keeps the learning rate inside its velocity, so that another
rate in the next step means another thing; its weight decay does not go through the momentum; and
Adam's epsilon is added before the correction of the moments' bias.
"""

from typing import Any

import keras
from keras import ops


class SGD(keras.optimizers.Optimizer):
    """v = momentum v + g + decay w; w -= rate (g + decay w + momentum v), Nesterov's way."""

    def __init__(self, momentum: float, decay: float) -> None:
        super().__init__(learning_rate=0.0, name="sgd")
        self.momentum, self.decay = momentum, decay

    def build(self, variables: Any) -> None:
        """Make the velocities."""
        super().build(variables)
        self.velocities = [
            self.add_variable_from_reference(variable, name="velocity") for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        if len(variable.shape) > 1:
            gradient = gradient + self.decay * variable
        if self.momentum:
            velocity = self.velocities[self._get_variable_index(variable)]
            self.assign(velocity, self.momentum * velocity + gradient)
            gradient = gradient + self.momentum * velocity
        self.assign_sub(variable, rate * gradient)


class AdamW(keras.optimizers.Optimizer):
    """Adam with the weight decay taken off the weights themselves (arXiv 1711.05101)."""

    def __init__(self, betas: tuple[float, float], epsilon: float, decay: float) -> None:
        super().__init__(learning_rate=0.0, name="adamw")
        self.betas, self.epsilon, self.decay = betas, epsilon, decay

    def build(self, variables: Any) -> None:
        """Make the moments."""
        super().build(variables)
        self.first, self.second = (
            [self.add_variable_from_reference(variable, name=name) for variable in variables]
            for name in ("first", "second")
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        index = self._get_variable_index(variable)
        first, second = self.first[index], self.second[index]
        one, two = self.betas
        self.assign(first, one * first + (1 - one) * gradient)
        self.assign(second, two * second + (1 - two) * gradient * gradient)
        # Not ops.cast: TensorFlow's makes float32 of a Python number on the way.
        first_correction, second_correction = (
            1 - ops.power(ops.convert_to_tensor(beta, variable.dtype), step) for beta in self.betas
        )
        direction = (first / first_correction) / (
            ops.sqrt(second / second_correction) + self.epsilon
        )
        if len(variable.shape) > 1:
            direction = direction + self.decay * variable
        self.assign_sub(variable, rate * direction)
