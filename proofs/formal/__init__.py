"""The theory as Coq checks it: `*.v`, what of it proves which claim, and the stored log."""
