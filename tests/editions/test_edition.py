"""What every edition has in common: the checks of its options."""

from typing import Any

import numpy as np
import pytest

from mobilenetv2.editions.edition import check_options
from mobilenetv2.errors import SpecError


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64")])
def test_a_dtype_is_given_by_name_or_as_numpys(dtype: Any) -> None:
    assert check_options(dtype, np.int64(3)) == "float64"
    assert check_options() == "float32"


@pytest.mark.parametrize("dtype", ["float16", "flaot64", np.float16, None, 64, [], "int32"])
def test_another_dtype_is_an_error(dtype: Any) -> None:
    with pytest.raises(SpecError, match=r"^dtype .* must be 'float32' or 'float64'$"):
        check_options(dtype)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_a_seed_is_a_whole_number_from_0(seed: Any) -> None:
    with pytest.raises(SpecError, match=r"seed .* must be a whole number, at least 0"):
        check_options("float32", seed)
