//! The phone's I/O: sockets, TLS, DNS, audio devices and storage around one event loop.
