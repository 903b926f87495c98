//! Signal processing on plain slices of samples: no state is shared, no branch on configuration in a loop.
