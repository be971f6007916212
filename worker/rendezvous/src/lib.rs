//! L2: a c10d TCPStore-compatible rendezvous server.
