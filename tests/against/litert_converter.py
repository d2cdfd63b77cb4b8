"""TensorFlow's converter to LiteRT, of a network of Keras."""

import warnings
from typing import Any


def converter_of(network: Any) -> Any:
    """Return the converter of a network's one function, its weights frozen.

    It makes the file that ``TFLiteConverter.from_keras_model`` makes, which writes a SavedModel
    first and takes five times as long; ``test_litert_heads`` compares them.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    given = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32, name="input")
    run = tf.function(lambda x: network(x, training=False), [given], autograph=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own affair
        frozen = convert_variables_to_constants_v2(run.get_concrete_function())
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen])
