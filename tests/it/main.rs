//! Integration tests: real PostgreSQL, real sockets, one test binary.

mod connect;
