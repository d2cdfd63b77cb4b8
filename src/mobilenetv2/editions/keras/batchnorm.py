"""BatchNorm whose running variance has Bessel's correction, as PyTorch's and TensorFlow 1's."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mobilenetv2")
class UnbiasedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's own but for what training adds to ``moving_variance``.

    A ``.keras`` file with this layer is read by :func:`mobilenetv2.editions.keras.read`, or by
    Keras itself once this module has been imported.
    """

    def call(self, inputs, training=None, mask=None):  # type: ignore[no-untyped-def]
        """(batch, ..., channels) -> the same."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        kept = ops.cast(self.moving_variance, inputs.dtype) * self.momentum
        outputs = super().call(inputs, training=training, mask=mask)
        shape = ops.shape(inputs)
        count = ops.cast(shape[0] * shape[1] * shape[2], inputs.dtype)
        added = ops.cast(self.moving_variance, inputs.dtype) - kept
        self.moving_variance.assign(kept + added * (count / ops.maximum(count - 1, 1)))
        return outputs
