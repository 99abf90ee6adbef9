'use strict';
require('./shim.js')('post', 'revoke');
