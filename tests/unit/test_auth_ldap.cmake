# The plugin's files that know of no fibers.
foreach(file text dn timed server connection settings person groups conversation)
  target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/auth-ldap/${file}.c)
endforeach()
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/auth-ldap)
target_link_libraries(${name} PRIVATE ldap lber)
