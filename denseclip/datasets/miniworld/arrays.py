"""Array types of the package."""

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
