//! (being written)

pub mod connect;
pub mod connect_error;
pub mod driver;
pub mod dsn;
mod tls;
