"""Why: the claims as executable objects, exact where exactness is possible."""
