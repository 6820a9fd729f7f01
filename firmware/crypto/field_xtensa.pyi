from crypto.field_viper import INVERTS as INVERTS
from crypto.field_viper import SLOT as SLOT
from crypto.field_viper import run as run
