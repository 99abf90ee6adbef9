'use strict';
require('./shim.js')('main', 'request');
