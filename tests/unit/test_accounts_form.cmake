# The login page's own files that need only the context.
target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/accounts/form.c)
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/accounts)
