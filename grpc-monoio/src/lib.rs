//! Sockets, timers and worker threads for the gRPC core over io_uring or epoll.
