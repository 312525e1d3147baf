# One set of warnings for everything we compile; each is an error.
add_library(purlin_warnings INTERFACE)
target_compile_options(purlin_warnings INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wconversion -Wpointer-arith -Wwrite-strings -Wundef
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition>)
add_compile_definitions(_GNU_SOURCE)
if(NOT PURLIN_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
add_compile_options(-fstack-protector-strong)
add_link_options(-Wl,-z,relro -Wl,-z,now)
