# The decoder is of a plugin, and needs nothing of it.
foreach(file otlp protobuf json growing)
  target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/traces/${file}.c)
endforeach()
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/traces)
