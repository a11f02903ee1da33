//! Events that failed for good: who waits for them, how they come back, and what an operator sees.
