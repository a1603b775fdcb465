// Included before every source of the libraries that are released, so that they run with glibc from
// 2.28 on though they are linked with a newer one. glibc 2.34 moved the threads and the dynamic
// loader into the C library proper, and a function that is moved gets a new symbol version; the old
// one stays, and is what is asked for here. packaging/check-glibc.sh finds what is missing.

#if defined(__x86_64__)
#define OLD_VERSION(function, x86_64_version, aarch64_version)                                     \
    __asm__(".symver " #function ", " #function "@GLIBC_" x86_64_version)
#elif defined(__aarch64__)
#define OLD_VERSION(function, x86_64_version, aarch64_version)                                     \
    __asm__(".symver " #function ", " #function "@GLIBC_" aarch64_version)
#else
#error "no releases for this architecture"
#endif

OLD_VERSION(dladdr, "2.2.5", "2.17");
OLD_VERSION(dladdr1, "2.3.3", "2.17");
OLD_VERSION(dlclose, "2.2.5", "2.17");
OLD_VERSION(dlinfo, "2.3.3", "2.17");
OLD_VERSION(dlopen, "2.2.5", "2.17");
OLD_VERSION(dlsym, "2.2.5", "2.17");
OLD_VERSION(pthread_create, "2.2.5", "2.17");
OLD_VERSION(pthread_detach, "2.2.5", "2.17");
OLD_VERSION(pthread_getspecific, "2.2.5", "2.17");
OLD_VERSION(pthread_key_create, "2.2.5", "2.17");
OLD_VERSION(pthread_mutex_trylock, "2.2.5", "2.17");
OLD_VERSION(pthread_once, "2.2.5", "2.17");
OLD_VERSION(pthread_rwlock_rdlock, "2.2.5", "2.17");
OLD_VERSION(pthread_rwlock_unlock, "2.2.5", "2.17");
OLD_VERSION(pthread_rwlock_wrlock, "2.2.5", "2.17");
OLD_VERSION(pthread_setname_np, "2.12", "2.17");
OLD_VERSION(pthread_setspecific, "2.2.5", "2.17");
OLD_VERSION(pthread_sigmask, "2.2.5", "2.17");
