//! Everything that needs a real PostgreSQL, as one binary: one link, one cluster.

mod private_postgres;
mod support;
