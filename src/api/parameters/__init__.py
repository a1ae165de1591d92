"""The parts of a query: one module for each kind of parameter."""
