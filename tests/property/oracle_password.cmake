target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/accounts/password.c ${CMAKE_SOURCE_DIR}/plugins/accounts/unicode.c)
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/accounts)
target_link_libraries(${name} PRIVATE crypt crypto PkgConfig::UTF8PROC)
