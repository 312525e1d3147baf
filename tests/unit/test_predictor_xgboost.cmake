# The plugin's own files, without its manifest, and the library that it must equal.
target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/parse.c
                               ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/json.c
                               ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/ubj.c
                               ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/predict.c)
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost)
target_link_libraries(${name} PRIVATE xgboost)
