# The plugin's files that ask nobody.
foreach(part rules token claims person)
  target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/auth-oidc/${part}.c)
endforeach()
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/auth-oidc)
target_link_libraries(${name} PRIVATE purlin_jwt crypto)
