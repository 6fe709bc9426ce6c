"""7T-like T1w brain images from 3T scans: the functions for notebooks and scripts.

The names are listed in `__init__.pyi`; each is loaded when it is first used, so that importing the
package costs milliseconds and loads neither torch nor Qt.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
