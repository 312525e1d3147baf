# Cross-builds for aarch64 Debian out of a folder with its libraries, PURLIN_SYSROOT; tests run under qemu-user. `./dev cross` does all of it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PURLIN_SYSROOT)

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_SYSROOT ${PURLIN_SYSROOT})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${PURLIN_SYSROOT})

set(ENV{PKG_CONFIG_SYSROOT_DIR} ${PURLIN_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${PURLIN_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${PURLIN_SYSROOT}/usr/share/pkgconfig)
