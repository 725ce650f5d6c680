"""Linear support vector regression for several targets at once, with a certified duality gap."""

from emojax.svr.estimator import LinearSVR, fit_svr
from emojax.svr.problem import SVRConfig, SVRFit

__all__ = ["LinearSVR", "SVRConfig", "SVRFit", "fit_svr"]
