target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/parse.c
                               ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/json.c
                               ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/ubj.c
                               ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost/predict.c)
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/predictor-xgboost)
