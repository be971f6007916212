//! The store with the real uv, the real pip and real processes. Needs a Python 3.9 with venv and a package
//! index; without the index the tests say that they are skipped.

mod builds;
mod inventory;
mod kill;
mod layers;
mod machines;
mod processes;
mod support;
mod wheel;
