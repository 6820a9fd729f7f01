from crypto.sha512_viper import CONSTANTS as CONSTANTS
from crypto.sha512_viper import hash_blocks as hash_blocks
