PREFIX = "bapi_"
