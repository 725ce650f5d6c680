"""Linear support vector regression for several targets at once, with a certified duality gap."""

from emojax.svr.estimator import LinearSVR, SVRConfig, SVRFit, fit_svr

__all__ = ["LinearSVR", "SVRConfig", "SVRFit", "fit_svr"]
